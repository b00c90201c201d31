"""Reading and writing entities, with the caller's rights."""
