"""Files of every format to texts: what a reader of the way from text to chat can leave out."""
