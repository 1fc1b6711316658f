"""Recognition with and without CARAFE: made data, loaders, networks, scores; README.md says more."""
