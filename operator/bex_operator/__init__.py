"""The bex operator: App objects in, running services out. It never knows how machines are made."""
