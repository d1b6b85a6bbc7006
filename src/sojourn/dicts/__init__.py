"""What a `SessionStore` (`sojourn.dictstore`) is made of: two kinds of shelf behind one face.

settings.py   the configuration, and what is told of an entry                    pure
keys.py       keys: which are the same, and where they lie                       pure
isolation.py  values that nobody can change from outside                         pure
table.py      entries by key, by last use and by end, each found without a scan  pure
shelf.py      what both shelves do, and what is raised where something is refused
memory.py     the shelf in this process
durable.py    the shelf over a store of the engine
roster.py     which entries a durable shelf has, kept up to date by the store's history
portable.py   the snapshot in JSON, and the backup files of true_storage
carrying.py   a JSON file becomes a database
upkeep.py     the one thread: it holds a shelf weakly, and ends with it
"""
