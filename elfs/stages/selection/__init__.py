"""The parts of select: candidates, rounds, reasons."""
