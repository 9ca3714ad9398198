"""One command on many processes and devices: the only room that knows torch.distributed."""
