"""The Annotations tab: what the store holds, for everybody; review for reviewers; data in and out for admins."""
