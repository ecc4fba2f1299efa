"""Links: the adapter for everything that talks to a site outside Ansible. Nothing but SSH ever leaves for a site."""
