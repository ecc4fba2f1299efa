"""Inventory, the first stage: what operators say about sites and releases, checked to the last cell and kept.

In: CSV files and single edits of sites, selectors to be saved as groups, host keys that were seen, k3s release files;
    bundle files, on a stick or in pieces.
Out: Site, SiteLabel, Group and sealed secrets; ReleaseFile; Bundle and its content in the appliance's store.
Never: changes a site for what was observed of it, or writes a Cluster or an Operation.
"""
