-- Does nothing, and is refused like whatever keeps more when there is no room for that.
return 1
