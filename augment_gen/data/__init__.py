"""Images: where they come from, how they are split, how a step gets them."""
