# What it has is for the other extensions.
