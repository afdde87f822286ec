"""What a program may want on top, most of it with a package of its own: ``pip install "perdure[encryption]"`` and so on."""
