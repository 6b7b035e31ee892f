"""Playbooks: work on the nodes of a cluster over SSH, one node at a time, and never below N−1."""
