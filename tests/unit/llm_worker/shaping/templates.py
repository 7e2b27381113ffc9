"""Chat templates in the manner of those that models come with, as far as tools matter."""

IGNORANT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)

HERMES = """{%- if tools %}<|im_start|>system
You may call: <tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools> within <tool_call></tool_call>
<|im_end|>
{% endif %}
{%- for m in messages %}
{%- if m.tool_calls %}<|im_start|>assistant
{{ m.content }}{% for call in m.tool_calls %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% elif m.role == 'tool' %}<|im_start|>user
<tool_response>
{{ m.content }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endif %}
{%- endfor %}<|im_start|>assistant
"""

LLAMA = """{%- for m in messages %}
{%- if 'tool_calls' in m %}
{%- if m.tool_calls | length != 1 %}{{ raise_exception('only single tool-calls at once') }}{% endif %}
<assistant>{"name": "{{ m.tool_calls[0].function.name }}", "parameters": {{ m.tool_calls[0].function.arguments | tojson }}}
{%- elif m.role == 'tool' %}<ipython>{{ m.content | tojson }}
{%- else %}<{{ m.role }}>{{ m.content }}
{%- if tools and m.role == 'user' %}
Answer with {"name": function, "parameters": {}}. {% for tool in tools %}{{ tool | tojson }}{% endfor %}
{%- endif %}{% endif %}
{%- endfor %}<assistant>"""  # noqa: E501

MISTRAL = """{%- for m in messages %}
{%- if m.tool_calls %}[TOOL_CALLS][
{%- for call in m.tool_calls %}
{%- if call.id | length != 9 %}{{ raise_exception('ids of tool calls have length 9') }}{% endif %}
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}, "id": "{{ call.id }}"}
{%- endfor %}]</s>
{%- elif m.role == 'tool' %}[TOOL_RESULTS]{"content": {{ m.content }}, "call_id": "{{ m.tool_call_id }}"}[/TOOL_RESULTS]
{%- elif m.role == 'user' %}
{%- if tools %}[AVAILABLE_TOOLS][{% for tool in tools %}{{ tool | tojson }}{% endfor %}][/AVAILABLE_TOOLS]{% endif %}
[INST]{{ m.content }}[/INST]
{%- else %}{{ m.content }}</s>
{%- endif %}
{%- endfor %}"""

MISTRAL_ARGS = MISTRAL.replace("[TOOL_CALLS][", "[TOOL_CALLS]x[ARGS]")

TEXTUAL = """{%- if tools %}{{ tools | tojson }}{% endif %}
{%- for m in messages %}
{%- if m.tool_calls %}<tool_call>{{ m.tool_calls[0].function.name + m.tool_calls[0].function.arguments }}</tool_call>
{%- else %}{{ m.role + m.content }}
{%- endif %}
{%- endfor %}"""
"""Wants the arguments as text."""
