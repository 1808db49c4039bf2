"""Synthetic orgs whose people converse about deals, with the right deal of every email.

The modules, from the bottom up: `randomness`, `moments`, `texts` and `knobs`; `org` and `people`;
`deals`, `deal_names`, `deal_touches` and `deal_lives`; `subjects`, `mail`, `threads` and
`small_talk`; `linking` and `corrections`. `company` puts one company together, and `writer` writes
a world company by company.
"""
