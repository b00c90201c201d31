"""Rich text of editors as Markdown, HTML, plain text and JSON, and back.

:mod:`model` is the one form in between: ProseMirror's JSON with the names of Tiptap. :mod:`forms` knows how each editor
stores it in Yjs; :mod:`reading` and :mod:`setting` are the entrances.
"""
