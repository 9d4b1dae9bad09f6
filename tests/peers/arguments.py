SLOT = ""
