"""The parts of embed: batches, rows, reuse, shards, neighbours, given embeddings, the pool's encoder."""
