"""The colours of plots: told apart by the colour-blind, and by their lightness in a grey print."""

# Okabe & Ito 2008, from dark to light.
LINES = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("-", "--", ":", "-.")
SIGNED = "cividis"  # lightness grows from the most negative to the most positive value
SIZES = "gray"  # 0 is black
COUNTS = "Greys"  # 0 is white, as paper
