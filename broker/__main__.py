from ..command.begin import chatbroker

chatbroker()
