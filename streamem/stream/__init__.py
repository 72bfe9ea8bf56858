"""The flow of micro-batches: what a pipeline is made of, and the order it owns."""
