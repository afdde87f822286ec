import openai
from openai.types.chat import ChatCompletionMessage

from perdure import workflow
from tests.testing.third_party import loads

loads["openai"] += 1


@workflow.defn
class Uses:
    @workflow.run
    async def run(self) -> str:
        message = ChatCompletionMessage(role="assistant", content="hello")
        await workflow.sleep(1)
        return f"{message.content} {issubclass(openai.RateLimitError, openai.APIError)}"
