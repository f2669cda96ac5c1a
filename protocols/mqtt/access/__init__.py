"""Access control: users, passwords, and the rules of ``acl``."""
