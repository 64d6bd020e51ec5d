"""What a maintainer of the toybox runs: its committed images anew, how hard it is, how fast it is drawn."""
