"""What the dashboard shows: three containers on one page, of which an operator sees one at a time.

    overview    the store as a whole: one for all operators, as it is the same for all
    sessions    a search, and its pages
    one         one session, and what can be done to it
    words       how figures, times and facts are put       pure

Each has ``build``, which declares its widgets, and ``show``, which fills them. What is assigned by way of an operator's
session is for that operator alone.
"""
