"""What a container of an Azure ML online deployment needs of Azure: its identity and the workspace's connections.

Standard library only, like the rest of the runner, so that the image holds nothing but what the prompt flow asked for.
"""
