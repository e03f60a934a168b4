"""The colours of plots: told apart by the colour-blind, and by their lightness in a grey print."""

# Of Okabe & Ito 2008; told apart by their dashes or marks as well.
SEVERAL = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9")
SIGNED = "cividis"  # lightness grows from the most negative to the most positive value
SIZES = "gray"  # 0 is black
COUNTS = "Greys"  # 0 is white, as paper
