from ..command.begin import chat

chat()
