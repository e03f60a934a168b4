"""Pictures and the page: what a run shows to people.

It knows how to draw what is found of a trained network. It must not compute what another room can tell.
"""
