"""What each trained stage consists of, one module an experiment."""
