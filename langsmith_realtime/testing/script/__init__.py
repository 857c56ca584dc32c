"""Change here the steps and fields of scripts, and how script files and recordings are parsed."""
