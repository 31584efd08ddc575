// The one list of verbs. A new verb is one file and one row here.
#include "app/verbs.h"

#include "app/verb.h"

namespace hone::app {

const std::vector<VerbRow>& verb_list() {
  static const std::vector<VerbRow> list = {
      {"optimize", "Make a model smaller within a budget, measure it, and prove it",
       "hone optimize SmolLM2.gguf --max-size 80MB -o small.gguf\n"
       "hone optimize HuggingFaceTB/SmolLM2-135M-Instruct --max-kld 0.05 -o small.gguf\n"
       "hone optimize SmolLM2.gguf --recipe small.recipe.yaml -o again.gguf",
       &make_optimize},
      {"quantize", "Store a model in one named format or mix",
       "hone quantize model.gguf Q4_K_M small.gguf\n"
       "hone quantize hf-directory Q8_0 model.gguf --imatrix model.imatrix.gguf",
       &make_quantize},
      {"convert", "Translate between GGUF, Hugging Face, MLX, GPTQ and compressed-tensors",
       "hone convert hf-directory model.gguf\nhone convert model.gguf hf-directory --dequantize BF16\n"
       "hone convert model.gguf model-mlx\nhone convert hf-directory model-mlx-4bit --requantize 4bit\n"
       "hone convert hf-directory merged.gguf --lora adapter-directory",
       &make_convert},
      {"imatrix", "Measure on a text how much each input of a weight matters, for quantize --imatrix",
       "hone imatrix model.gguf -f text.txt -o model.imatrix.gguf\n"
       "hone imatrix model.gguf -o own-text.imatrix.gguf\n"
       "hone imatrix --in first.imatrix.gguf --in second.dat -o both.imatrix.gguf",
       &make_imatrix},
      {"adapter", "Show a LoRA adapter, or translate it between PEFT, MLX and GGUF",
       "hone adapter peft-directory --model model.gguf\n"
       "hone adapter peft-directory adapter.gguf --model model.gguf --format F16\n"
       "hone adapter adapter.gguf peft-directory --model hf-directory",
       &make_adapter},
      {"inspect", "Show what a model is made of and the memory it needs",
       "hone inspect model.gguf\nhone inspect model.gguf --tensors --context 8192", &make_inspect},
      {"run", "Chat with a model, answer one prompt, or run its graph once",
       "hone run model.gguf\nhone run model.gguf \"Why is the sky blue?\" --temperature 0\n"
       "git diff | hone run model.gguf --system \"Review this change.\"\n"
       "hone run model.gguf --lora adapter-directory --control-vector calm.gguf:0.8\n"
       "hone run model.gguf --input input_ids=ids.npy --output logits.npz",
       &make_run},
      {"evaluate", "Perplexity, and KL divergence to a reference model",
       "hone evaluate small.gguf --reference model.gguf --text wiki.txt\n"
       "hone evaluate model.gguf --text wiki.txt --windows 16 --json",
       &make_evaluate},
      {"bench", "Speed, memory and bandwidth of a model on this machine",
       "hone bench model.gguf\nhone bench model.gguf --prefill 128 --decode 32 --json", &make_bench},
      {"pull", "Download a model from the Hugging Face Hub into the shared cache",
       "hone pull HuggingFaceTB/SmolLM2-135M-Instruct\n"
       "hone pull org/name --revision v1.0 --include '*Q4_K_M.gguf'",
       &make_pull},
      {"tokenize", "Show the tokens a model sees, or turn ids back into text",
       "hone tokenize model.gguf \"Hello world\" --pieces\nhone tokenize model.gguf --decode 19556 905",
       &make_tokenize},
      {"template", "Render messages with a model's chat template",
       "echo '[{\"role\": \"user\", \"content\": \"Hi\"}]' | hone template model.gguf", &make_template},
      {"completion", "Print completion scripts for a shell, or the manual page",
       "hone completion bash > /etc/bash_completion.d/hone\nhone completion fish > "
       "~/.config/fish/completions/hone.fish",
       &make_completion},
  };
  return list;
}

}  // namespace hone::app
