"""Pages that stand alone: the style of the house, the frame and the parts of which every page is made."""
