"""A trained network: predicting, evaluating, exporting, importing.

It knows runs as something to load. It must not train.
"""
