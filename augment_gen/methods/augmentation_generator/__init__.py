"""The augmentation generator (Hayase, Yasutomi, Inoue)."""
