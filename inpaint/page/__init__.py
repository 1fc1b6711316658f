"""The page: open a photo, paint over what should go, look, download."""
