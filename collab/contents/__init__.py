"""One model of the content of Yjs documents: every shared type in every place, with marks, embeds and attributes.

:mod:`replica` applies updates as Yjs does. Its items are read as a :mod:`tree`, which becomes JSON, text or XML;
:mod:`restore` compares two replicas and makes an edit of the difference; :mod:`events` describes the changes of an
update. The CRDT library is not used here: it cannot represent some content that Yjs can write, and reading a hostile
document can crash its process.
"""
