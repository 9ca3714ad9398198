"""What leaves a workspace: exports for annotators, a report for people. Reads only, and knows no true label."""
