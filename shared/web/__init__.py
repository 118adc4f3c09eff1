"""What a stranger's URL names, and which addresses anybody may reach. Nothing here connects to anything."""
