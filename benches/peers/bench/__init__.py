"""Cloakroom side by side with other proxies."""
