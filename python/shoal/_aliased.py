"""Importing this installs the alias: the form in which a fork server can be told to."""

from shoal import alias

alias.install()
