"""What a run leaves on the disk to go on from: checkpoints, whole or in shards, and the output folder."""
