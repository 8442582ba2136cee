"""The road that makes avatars: footage, dataset, two stages, avatar folder and report."""
