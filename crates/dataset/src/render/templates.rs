//! Chat templates that a recipe can declare for a model that brings none. Each marks the assistant's words with `{% generation %}`.

use crate::settings::TemplateName;

/// Refuses what a plain template cannot say; every template begins with it.
const CHECK: &str = "{%- for message in messages -%}\
    {%- if message['role'] not in ['system', 'user', 'assistant'] or message['tool_calls'] -%}\
    {{- raise_exception('this template knows no tools: declare another one, or leave these rows out') -}}\
    {%- endif -%}{%- endfor -%}";

/// Stanford Alpaca's prompt, in LLaMA-Factory's form for several turns.
const ALPACA: &str = "{%- if messages[0]['role'] != 'system' -%}\
    {{- 'Below is an instruction that describes a task. Write a response that appropriately completes the request.\\n\\n' -}}\
    {%- endif -%}\
    {%- for message in messages -%}\
    {%- if message['role'] == 'system' -%}{{- message['content'] + '\\n\\n' -}}\
    {%- elif message['role'] == 'user' -%}{{- '### Instruction:\\n' + message['content'] + '\\n\\n' -}}\
    {%- else -%}{{- '### Response:\\n' -}}{%- generation -%}{{- message['content'] -}}{%- endgeneration -%}\
    {%- if not loop.last -%}{{- '\\n\\n' -}}{%- endif -%}{%- endif -%}\
    {%- endfor -%}\
    {%- if add_generation_prompt -%}{{- '### Response:\\n' -}}{%- endif -%}";

/// OpenAI's ChatML.
const CHATML: &str = "{%- for message in messages -%}\
    {{- '<|im_start|>' + message['role'] + '\\n' -}}\
    {%- if message['role'] == 'assistant' -%}{%- generation -%}{{- message['content'] + '<|im_end|>' -}}{%- endgeneration -%}{{- '\\n' -}}\
    {%- else -%}{{- message['content'] + '<|im_end|>\\n' -}}{%- endif -%}\
    {%- endfor -%}\
    {%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}";

/// Vicuna 1.1.
const VICUNA: &str = "{%- if messages[0]['role'] != 'system' -%}\
    {{- 'A chat between a curious user and an artificial intelligence assistant. ' -}}\
    {{- \"The assistant gives helpful, detailed, and polite answers to the user's questions. \" -}}\
    {%- endif -%}\
    {%- for message in messages -%}\
    {%- if message['role'] == 'system' -%}{{- message['content'] + ' ' -}}\
    {%- elif message['role'] == 'user' -%}{{- 'USER: ' + message['content'] + ' ' -}}\
    {%- else -%}{{- 'ASSISTANT:' -}}{%- generation -%}{{- ' ' + message['content'] -}}{%- endgeneration -%}{%- endif -%}\
    {%- endfor -%}\
    {%- if add_generation_prompt -%}{{- 'ASSISTANT:' -}}{%- endif -%}";

/// The turns' texts and nothing else.
const PLAIN: &str = "{%- for message in messages -%}\
    {%- if message['role'] == 'assistant' -%}{%- generation -%}{{- message['content'] -}}{%- endgeneration -%}\
    {%- else -%}{{- message['content'] -}}{%- endif -%}\
    {%- endfor -%}";

/// The Jinja source of a declared template; `None` for the model's own.
pub fn source(name: TemplateName) -> Option<String> {
    let body = match name {
        TemplateName::Model => return None,
        TemplateName::Alpaca => ALPACA,
        TemplateName::Chatml => CHATML,
        TemplateName::Vicuna => VICUNA,
        TemplateName::Plain => PLAIN,
    };
    Some(format!("{CHECK}{body}"))
}
