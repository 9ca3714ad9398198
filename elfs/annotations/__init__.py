"""What people say about images, as annotation tools hand it back: read here, kept apart from what it is used for."""
