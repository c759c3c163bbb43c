"""What several rooms need: error texts, whole numbers, serialization."""
