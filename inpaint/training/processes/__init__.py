"""The processes of a run on several devices: who they are, how they meet, how they are asked to end."""
