"""The run-time checker of annotations: beartype, for which an int is a float, as for PEP 484."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
