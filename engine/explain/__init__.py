"""The same network in plain loops: equations, one image forward and backward, the self-test.

It knows formulas and twins. It must not use the compiled program for what it explains; only the self-test runs both.
"""
