"""The page around the tabs: how it is made and served, who may do what, and the one image canvas; it knows no tab."""
