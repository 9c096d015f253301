"""`threadmill init`: writes a source file by experiment, each line with its evidence.

Guessing happens here and nowhere else: a run does what the file says. What an
experiment could not settle is a question in the file, never a silent default.

    subject             the URL and the headers that the user gave
    prober              asks, one request at a time, and counts
    located             where the records are in an answer
    answers             two answers compared record by record
    sizes, followed, counted, totals, since    one experiment each
    posted              bodies and GraphQL queries: their lines, and what asking twice does
    types, names_of_rows                       what the sampled records tell
    drafting, writing   the findings as YAML text
    openapi, declared, schemas    the same from a description instead of experiments
    command             the steps behind the command line
"""
