"""What a store holds, found by its settings: `drift ls`, `drift show`."""
